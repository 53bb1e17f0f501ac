"""Networks: any nn.Module called as `network(inputs, t)` will do; these are ours."""
