"""Break the package on purpose, one formula at a time, and see that the tests notice.

    python -m tools.teeth            all breaks: some minutes
    python -m tools.teeth gamma      those whose description or file holds the word

A test that passes whatever the code does proves nothing. Each row of BREAKS is a mistake that
someone could make; it is made in a copy of the package, where the tests beside it must fail. First
the same tests must pass on a copy in which nothing is broken. A break is caught only if a named
test ran to its end and found a wrong value: a test that cannot be collected, a crash, or a name
that is missing says nothing about the mathematics. A break whose text does not stand in the source
exactly once is stale, which is an error: keep the list in step.
"""

import os
import shutil
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree

ROOT = Path(__file__).resolve().parent.parent
COPIED = ("bfn_core", "tests", "pyproject.toml", "conftest.py")
LIMIT = 900  # seconds for one run of pytest
# Failures of these kinds come from a break that is no program any more.
NO_PROGRAM = ("ImportError", "ModuleNotFoundError", "NameError", "UnboundLocalError", "SyntaxError")


@dataclass(frozen=True)
class Break:
    """A mistake: in a file of bfn_core, `wrong` in the place of `right`; and who should see it."""

    file: str
    what: str
    right: str
    wrong: str
    tests: tuple[str, ...]  # in tests/; a file or, sooner done, one test of it

    def stale(self) -> str | None:
        """What is wrong with the entry itself, if anything."""
        count = (ROOT / "bfn_core" / self.file).read_text("utf-8").count(self.right)
        return None if count == 1 else f"{self.right!r} stands {count} times in {self.file}"


# The widely copied n-step loss: every coordinate of y as a mixture of its own.
INDEPENDENT = """wide = (sender.alpha * self.classes).sqrt()
        on = log_probs - 0.5 * ((y - sender.alpha * (self.classes - 1)) / wide) ** 2
        other = torch.log1p(-log_probs.exp().clamp(max=1 - 1e-6))
        off = -0.5 * ((y + sender.alpha) / wide) ** 2
        sent = torch.where(torch.nn.functional.one_hot(x, self.classes).bool(), on - log_probs, off)
        return (sent - torch.logaddexp(on, other + off)).sum(-1)"""

ONE_NOISE = """one = torch.randn(shape[:1], generator=generator, dtype=dtype, device=like.device)
    return one.reshape(-1, *[1] * (len(shape) - 1)).expand(shape).clone()"""

# A file of bfn_core; tests of it; and rows of (what goes wrong, right, wrong), with tests of their
# own where those are not the ones that see it.
TABLE = [
    ("compression/codec.py", "test_compression.py", [
        ("a condition left in another precision than the model's",
         "in_precision(over(lambda part: part.cpu(), condition), torch.float64)",
         "over(lambda part: part.cpu(), condition)",
         "test_compression.py::test_a_condition_of_numbers_is_told_in_the_models_own_precision"),
    ]),
    ("compression/channels.py",
     "test_compression.py::test_a_message_about_one_of_many_bins_costs_what_the_mixture_says", [
        ("a bin's posterior by twice the accuracy", "score *= -alpha / 2", "score *= -alpha"),
        ("only the bins right beside a message", "WINDOW = 10.0", "WINDOW = 0.5"),
        ("a message heard in units of the accuracy",
         "before[:, 0] * self.cell[i - 1]) / alpha  # y", "before[:, 0] * self.cell[i - 1])  # y"),
     ]),
    ("schedules.py",
     "test_extensions.py::test_a_schedule_holds_together "
     "test_extensions.py::test_gamma_and_its_rest_keep_their_digits_in_single_precision "
     "test_extensions.py::test_chembfns_schedule_is_the_published_formula "
     "test_extensions.py::test_schedules_of_diffusion_are_the_published_formulas "
     "test_extensions.py::test_a_table_goes_through_its_points_and_refuses_others "
     "test_flows.py::test_published_values_of_the_schedules "
     "test_flows.py::test_gamma_keeps_its_digits_near_zero", [
        ("gamma as β", "return beta / (1 + beta)", "return beta"),
        ("1 − γ as a difference, without its digits", "return 1 / (1 + self.beta(t))",
         "return 1 - self.gamma(t)"),
        ("any schedule's α_i as a rate over n", "return self.beta(i / n) - self.beta((i - 1) / n)",
         "return self.rate(i / n) / n"),
        ("a time that is hardly looked for", "range(64 if _doubled(beta) else 30)", "range(8)"),
        ("a moment's rate as its β", "return self.schedule.rate(self.t)",
         "return self.schedule.beta(self.t)",
         "test_model.py::test_the_squared_error_is_summed_not_averaged"),
        ("a moment's 1 − γ as a difference", "return self.schedule.rest(self.t)",
         "return 1 - self.schedule.gamma(self.t)",
         "test_flows.py::test_the_rest_keeps_its_digits_near_one"),
        ("geometric β without its −1", 'return _of("expm1", self._rate * t)',
         'return _of("exp", self._rate * t)'),
        ("geometric β without its digits at small t", 'return _of("expm1", self._rate * t)',
         'return _of("exp", self._rate * t) - 1'),
        ("σ₁^(−t) in place of σ₁^(−2t)", "return -2.0 * math.log(self.sigma_1)",
         "return -1.0 * math.log(self.sigma_1)",
         "test_flows.py::test_published_values_of_the_schedules"),
        ("geometric α_i one message late", 'return _of("exp", self._rate / n * i)',
         'return _of("exp", self._rate / n * (i - 1))'),
        ("the rate of linear β twice too large", "return self.beta_1 + 0.0 * t",
         "return 2 * self.beta_1 + 0.0 * t"),
        ("linear α_i of n + 1 messages", "return self.beta_1 / n + 0.0 * i",
         "return self.beta_1 / (n + 1) + 0.0 * i"),
        ("quadratic β as a linear one", "return self.beta_1 * t * t", "return self.beta_1 * t"),
        ("the rate of quadratic β without its 2", "return 2.0 * self.beta_1 * t",
         "return self.beta_1 * t"),
        ("quadratic α_i = β(1)·2i/n², off by one", "(2 * i - 1) / n**2", "(2 * i) / n**2"),
        ("cosine β without its square", 'return _of("tan", self._angle * t) ** 2',
         'return _of("tan", self._angle * t)'),
        ("the rate of cosine β without tan'", "self._angle * tan * (1.0 + tan * tan)",
         "self._angle * tan"),
        ("the cosine's angle without its root", "math.atan(math.sqrt(self.beta_1))",
         "math.atan(self.beta_1)"),
        ("entropy-linear β without 4/K", "_log_left(t) * (-4.0 / self.classes)",
         "_log_left(t) * -1.0"),
        ("the rate of entropy-linear β at t = 0 for all t",
         "math.expm1(-self._end) / self._left(t)", "math.expm1(-self._end) + 0.0 * t"),
        ("entropy-linear β without its digits near 1",
         "torch.where(late, torch.where(t < 1.0, inner, last), early)", "torch.log1p(less * t)"),
        ("a log-linear rate without its δ", "self._rate * self.offset * _of(", "self._rate * _of("),
        ("a log-linear time in units of 1", "_of(\"log1p\", beta / self.offset)",
         "_of(\"log1p\", beta)"),
        ("the root of a straight path's accuracy", "return (share / (1.0 - share)) ** 2",
         "return share / (1.0 - share)"),
        ("a straight path that ends at another β(1)", "(1.0 + self.beta_1**0.5)\n",
         "(2.0 + self.beta_1**0.5)\n"),
        ("a table read one line late", "right=True) - 1", "right=True)"),
        ("a slope of ∞ between points that float32 has for one",
         "torch.where(width > 0, width, math.inf)", "width",
         "test_mmse.py::test_a_schedule_made_for_an_error_that_has_come_to_0_serves_in_single_"
         "precision"),
        ("a table with lines in β", "self._log = self._beta.log1p()", "self._log = self._beta"),
    ]),
    ("beliefs.py", "test_flows.py::test_categorical_update_is_bayes_rule_in_any_order", [
        ("softmax of probabilities", "return softmax(self.logits)",
         "return softmax(softmax(self.logits))"),
        ("times and accuracies in 16 bits", "    dtype = at_least_single(like.dtype)\n",
         "    dtype = like.dtype\n",
         "test_input.py::test_accuracies_are_not_rounded_to_the_precision_of_data"),
        ("a condition that is lost on its way", 'else {"condition": condition}', "else {}",
         "test_extensions.py::test_wish_2_a_condition_reaches_the_network_everywhere"),
    ]),
    ("numerics.py", "test_flows.py::test_the_sender_spreads_independently_over_variables", [
        ("one noise for all variables",
         "return torch.randn(shape, generator=generator, dtype=dtype, device=like.device)",
         ONE_NOISE),
        ("autocast ended where torch has none",
         "torch.autocast(kind, enabled=False) if has_it else nullcontext()",
         "torch.autocast(kind, enabled=False)", "test_unet.py::"
         "test_it_computes_on_a_device_of_which_torchs_autocast_knows_nothing"),
        ("draws in 16 bits", "return torch.promote_types(dtype, torch.float32)", "return dtype",
         "test_input.py::test_draws_of_many_classes_have_their_shares "
         "test_input.py::test_noise_and_times_have_more_than_256_values"),
        ("exponential clocks that run backwards", "return (probs / wait).argmax(-1)",
         "return (probs * wait).argmax(-1)",
         "test_accelerator.py"
         "::test_classes_are_drawn_by_their_probabilities_and_always_in_the_same_way"),
        ("ln Φ of −z for z", "return torch.where(below, tail, torch.log1p(-tail.exp()))",
         "return torch.where(below, torch.log1p(-tail.exp()), tail)",
         "test_accelerator.py::test_the_series_for_the_normal_law_is_as_exact_as_torch"),
        ("a slope of ln Φ in which huge numbers cancel",
         "torch.where(z < -_FAR, grad * slope, near)", "near",
         "test_distributions.py::test_the_slope_of_ln_phi_is_right_far_out_and_torchs_near_0"),
        ("examples of one number taken for one example", "return x.unsqueeze(1).flatten(1)",
         "return x.flatten(1) if x.dim() > 1 else x.unsqueeze(0)",
         "test_input.py"
         "::test_examples_of_one_number_may_be_without_a_dimension_of_their_own"),
        ("each class as likely as it is often", "weights @ (index == k).double()",
         "(index == k).double().mean(0).expand(len(weights), -1)",
         "test_model.py::test_exact_output_at_the_prior_is_the_data"),
    ]),
    ("flows.py", "test_flows.py test_model.py", [
        ("the loss twice too large", "return 0.5 * self._at(t, x).rate * (x -",
         "return self._at(t, x).rate * (x -",
         "test_model.py::test_the_squared_error_is_summed_not_averaged"),
        ("a norm in place of its square", ".rate * (x - output.mean).square()",
         ".rate * (x - output.mean).abs()",
         "test_model.py::test_the_squared_error_is_summed_not_averaged"),
        ("the discrete loss twice too large", "return 0.5 * self.classes * rate *",
         "return self.classes * rate *",
         "test_model.py::test_discrete_loss_at_the_prior_in_numbers"),
        ("a mean over K in place of a sum", "* rate * error.square().sum(-1)",
         "* rate * error.square().mean(-1)",
         "test_model.py::test_discrete_loss_at_the_prior_in_numbers"),
        ("the price of a number's message twice too large",
         "return 0.5 * per_example(alpha, x) *", "return per_example(alpha, x) *",
         "test_code_length.py::test_gaussian_data_in_n_steps"),
        ("the flow's variance γ in place of γ(1 − γ)", "(m.gamma * m.rest).sqrt()",
         "m.gamma.sqrt()", "test_flows.py::test_flow_of_gaussian_data_in_numbers"),
        ("a flow that starts at x", "mean = m.gamma * x +", "mean = x +",
         "test_flows.py::test_flow_of_gaussian_data_in_numbers"),
        ("β in place of 1 + β", "(1 + m.beta.reshape(-1))", "m.beta.reshape(-1)",
         "test_flows.py::test_many_updates_are_one_draw_from_the_flow"),
        ("the update's weight α/ρ in place of α/ρ'", "per_example(alpha / precision, y)",
         "per_example(alpha / theta.precision, y)",
         "test_flows.py::test_gaussian_update_is_bayes_rule_in_any_order"),
        ("the discrete update made twice", "log_softmax(theta.logits + y)",
         "log_softmax(theta.logits + 2 * y)",
         "test_flows.py::test_categorical_update_is_bayes_rule_in_any_order"),
        ("a discrete flow of variance β in place of βK",
         "variance = self._at(t, noise).beta * self.classes",
         "variance = self._at(t, noise).beta",
         "test_flows.py::test_flow_of_classes_in_numbers"),
        ("the predicted noise by its variance", "(m.rest / gamma).sqrt()", "(m.rest / gamma)",
         "test_flows.py::test_estimates_from_predicted_noise_in_numbers"),
        ("the mask of t_min after the division", "gamma = torch.where(known, m.gamma, 1.0)",
         "gamma = m.gamma",
         "test_distributions.py::test_no_nan_gradient_below_t_min"),
        ("t_min the only time at which nothing is told",
         " & (m.gamma >= torch.finfo(m.gamma.dtype).tiny)", "",
         "test_molecules.py::test_before_its_start_a_clock_costs_nothing_and_teaches_nothing"),
        ("an estimate that is not clipped", "estimate.clamp(*self.data_range)", "estimate",
         "test_flows.py::test_estimates_from_predicted_noise_in_numbers"),
        ("x charged to the accuracy √σ₁", "self.sigma_1**-2)", "self.sigma_1**-1)",
         "test_flows.py::test_the_last_fee_of_a_number_is_that_of_a_bell_of_width_sigma_1"),
        ("ln σ_ε taken for ln σ_x", "(log_std_noise + noise.log())", "log_std_noise",
         "test_flows.py::test_estimates_from_predicted_noise_in_numbers"),
        ("independent mixtures in place of a joint one",
         "return pick(y, x) - (log_probs + y).logsumexp(-1) - slope", INDEPENDENT,
         "test_model.py::test_step_cost_is_the_kl_by_brute_force"),
        ("the noise of a class's message left in its price",
         "return pick(y, x) - (log_probs + y).logsumexp(-1) - slope",
         "return pick(y, x) - (log_probs + y).logsumexp(-1)",
         "test_model.py::test_step_cost_is_the_kl_by_brute_force"),
        ("the noise of a bin's message left in its price",
         "return -(known - change).logsumexp(-1) - slope",
         "return -(known - change).logsumexp(-1)",
         "test_model.py::test_step_cost_is_the_kl_by_brute_force"),
        ("the prior counted as a message", "(precision - 1) / 2 *", "precision / 2 *",
         "test_model.py::test_exact_posterior_by_hand"),
        ("a geometric schedule taken for that of sigma_1, whichever it is",
         "and math.isclose(self.schedule.sigma_1, self.sigma_1)", "and True",
         "test_compression.py::test_a_model_on_another_schedule_or_range_is_another_model"),
        ("a class that is ruled out times 0", ".clamp(min=IMPOSSIBLE)", "",
         "test_model.py::test_a_belief_that_rules_classes_out_leaves_the_points_that_agree"),
        ("a conversation without its last message", "for i in range(1, count + 1))",
         "for i in range(1, count))",
         "test_extensions.py::test_a_conversation_ends_where_the_flow_says"),
    ]),
    ("distributions.py", "test_distributions.py", [
        ("a sender of variance α in place of αK", "noise * (self.alpha * k).sqrt() - self.alpha",
         "noise * self.alpha.sqrt() - self.alpha",
         "test_distributions.py::test_message_draws_have_the_stated_mean_and_variance"),
        ("the message's normalisation", "alpha.square() * (k - 1)  #", "alpha.square() * k  #",
         "test_distributions.py::test_message_density_is_one_joint_mixture"),
        ("a Gaussian without its 2π", "self.precision.log() - _LOG_2PI - squared",
         "self.precision.log() - squared",
         "test_distributions.py::test_comb_receiver_integrates_to_one_and_draws_as_it_says"),
        ("tails left out of the outer bins",
         "return torch.where(open_left | open_right, outer, inner)", "return inner",
         "test_distributions.py::test_bins_sum_to_one_for_any_normal"),
        ("the far tail as a difference of ones", "flip = left + right > 0",
         "flip = left + right > math.inf",
         "test_distributions.py::test_both_tails_keep_their_digits"),
        ("the peak's bin for the mode", "return self.centres[pick(options, log_p.argmax(-1))]",
         "return self.centres[inner]",
         "test_distributions.py::test_discretised_draws_and_mode_follow_the_probabilities"),
        ("bins from −1 to 1, edges taken for centres",
         "device=like.device) + 1) / bins - 1", "device=like.device)) / (bins - 1) - 1",
         "test_distributions.py::test_bin_centres_and_their_indices"),
        ("a comb as narrow as its teeth",
         "return 1 / self.precision + squares - self.mean.square()", "return 1 / self.precision",
         "test_distributions.py::test_comb_receiver_integrates_to_one_and_draws_as_it_says"),
    ]),
    ("discretised_mean.py",
     "test_distributions.py::test_mean_without_the_bins_is_the_mean_over_the_bins "
     "test_distributions.py::test_gradient_of_the_mean "
     "test_distributions.py::test_mean_and_its_slopes_keep_their_digits_in_float32", [
        ("a window of two deviations", "_WINDOW = 10", "_WINDOW = 4"),
        ("Euler and Maclaurin's first term with the wrong sign", "r * (-1 / 24)", "r * (1 / 24)"),
        ("a slope without its last term", "+ z2 * (s - s_z) - 2.0 * s_r)", "+ z2 * (s - s_z))"),
    ]),
    ("model.py", "test_model.py", [
        ("t = i/n in place of (i − 1)/n", "t = (i - 1).to(like.dtype) / n",
         "t = i.to(like.dtype) / n",
         "test_model.py::test_the_network_sees_the_times_before_each_message"),
        ("the message's accuracy one step late", "alpha = flow.alpha(i.to(like.dtype), n)",
         "alpha = flow.alpha((i - 1).clamp(min=1).to(like.dtype), n)",
         "test_code_length.py::test_gaussian_data_in_n_steps"),
        ("the factor n left out of L^n", "return n * _sum(", "return _sum(",
         "test_code_length.py::test_gaussian_data_in_n_steps"),
        ("a mean over the variables in place of a sum", "in_rows(cost).sum(1)",
         "in_rows(cost).mean(1)",
         "test_model.py::test_the_squared_error_is_summed_not_averaged"),
        ("times that are even but not uniform", "return (offset + spread) % 1.0",
         "return (offset / count + spread) % 1.0",
         "test_model.py::test_stratified_times_are_uniform_and_even"),
        ("the last fee paid half-way", "theta = flow.sample_flow(x, one, generator)",
         "theta = flow.sample_flow(x, 0.5 * one, generator)",
         "test_code_length.py::test_independent_uniform_symbols_cost_ln_k_at_every_n"),
        ("a sample where its mode was asked for", 'output.mode if final == "mode" else',
         'output.mode if final == "most likely" else',
         "test_model.py::test_a_sample_is_drawn_and_a_mode_is_not"),
    ]),
    ("modes.py", "test_model.py::test_sampling_is_in_eval_mode_and_gives_back_the_mode", [
        ("dropout left on while sampling", "        module.eval()\n", "        pass\n"),
    ]),
    ("samplers.py", "test_model.py", [
        ("one update missing", "if i < n:  #", "if i < n - 1:  #",
         "test_model.py::test_the_sampler_receives_every_message"),
        ("guesses at the time to come", "bfn.output(theta, i / n,",
         "bfn.output(theta, min(i + 1, n) / n,",
         "test_model.py::test_the_network_sees_the_times_before_each_message"),
        ("accuracies one message late", "alpha = flow.alpha(i + 1, n)",
         "alpha = flow.alpha(max(i, 1), n)",
         "test_model.py::test_the_sampler_receives_every_message"),
        ("the mode sent in place of a draw", "return output.sample(generator=generator)",
         "return output.mode", "test_code_length.py::test_samples_follow_the_data"),
        ("a column with gaps drawn in place of its mean",
         "isinstance(without_gaps(flow), GaussianFlow)",
         "isinstance(flow, GaussianFlow)",
         "test_extensions.py::test_messages_may_be_about_means_where_data_have_gaps"),
    ]),
    ("exact.py", "test_model.py::test_equal_points_count_once_and_weights_may_have_any_sum", [
        ("a posterior without the weights",
         "(self.log_weights.to(score.device) + score).softmax(-1)", "score.softmax(-1)",
         "test_model.py::test_exact_posterior_by_hand"),
        ("equal points counted twice",
         "points, index = points.unique(dim=0, return_inverse=True)",
         "index = torch.arange(len(points))"),
        ("weights whose sum is not 1", "(weights / weights.sum()).log()", "weights.log()"),
    ]),
    ("likelihood.py", "test_model.py::test_estimates", [
        ("a deviation for a standard error", "values.std() / math.sqrt(len(values))",
         "values.std()"),
        ("nats called bits", "1.0 / (variables * math.log(2.0))", "1.0 / variables"),
        ("a total without the last fee", "Estimate.of(sent + rest)", "Estimate.of(sent)",
         "test_code_length.py::test_independent_uniform_symbols_cost_ln_k_at_every_n"),
        ("repeats at one and the same time", "(start + repeat / repeats) % 1.0", "start",
         "test_model.py::test_repeats_of_an_example_are_evenly_spread_over_time"),
    ]),
    ("mixed.py",
     "test_extensions.py::test_mixed_costs_are_the_sum_of_the_parts "
     "test_extensions.py::test_a_perfect_network_for_mixed_data_pays_the_entropy", [
        ("the evidence of the parts averaged", "theta, points).values()]).sum(0)",
         "theta, points).values()]).mean(0)"),
        ("the first part's costs alone", "for cost in costs.values()], 1)",
         "for cost in [*costs.values()][:1]], 1)"),
    ]),
    ("infilling.py",
     "test_conditioning.py::test_the_weights_are_e_to_the_minus_the_bill_of_what_is_known "
     "test_conditioning.py::test_numbers_are_filled_too", [
        ("weights that reward a wrong guess", "log_weights - _over(cost, known)",
         "log_weights + _over(cost, known)"),
        ("to each candidate its own message about what is known",
         "return _where(known, cut(y, slice(1)), y)", "return y",
         "test_conditioning.py::test_all_candidates_hear_the_same_about_what_is_known"),
        ("what is absent taken for known", "(known & ~flow.there(x)).any()", "False",
         "test_conditioning.py::test_what_is_absent_is_not_known"),
        ("a gap's guess sent where x is known",
         "guess = _where(known, x, output.sample(generator=generator))",
         "guess = output.sample(generator=generator)",
         "test_conditioning.py::test_what_is_known_is_what_the_messages_are_about"),
        ("weights kept after the candidates are drawn by them",
         "log_weights = torch.zeros_like(log_weights)", "log_weights = log_weights * 1.0",
         "test_conditioning.py::test_candidates_are_drawn_anew_when_few_count"),
        ("in a basis, to each its own message about what is known",
         "return y + others.view_as(y)", "return y",
         "test_conditioning.py::test_all_candidates_hear_the_same_of_what_is_known_in_a_basis"),
        ("in a basis, what is known put beside the guess, not in its place",
         "flat - flat @ self.rows.T @ self.rows + self.truth", "flat + self.truth",
         "test_conditioning.py::test_one_coordinate_told_the_other_follows_the_exact_conditional"),
        ("in a basis, weights that compare with no truth",
         "sent = Gaussian(self.told.unsqueeze(0), precision)",
         "sent = Gaussian(expected, precision)",
         "test_conditioning.py::test_in_the_basis_of_the_variables_filling_is_what_it_was"),
        ("means of blocks that are not of unit length", "torch.kron(*blocks) / size",
         "torch.kron(*blocks) / size**2",
         "test_conditioning.py::test_block_means_are_orthonormal_and_are_means"),
    ]),
    ("binary.py", "test_binary.py::test_the_same_messages_give_the_same_guess", [
        ("half of the log odds that a sum of messages means", "torch.stack([-total, total], -1)",
         "torch.stack([-total / 2, total / 2], -1)"),
        ("the belief's mean in the place of the messages' sum",
         "theta.mean * per_example(theta.precision, theta.mean)", "theta.mean"),
        ("a guess in [0, 1] in the place of −1…1", "Delta(2 * guess.probs[..., 1] - 1)",
         "Delta(guess.probs[..., 1])"),
    ]),
    ("networks/conditions.py", "test_enlarge.py::test_block_means_are_told_to_every_pixel", [
        ("means of classes left in [0, 1]", "2.0 * x - 1", "1.0 * x"),
        ("a coarse picture that is smoothed", 'mode="nearest"', 'mode="bilinear"'),
    ]),
    ("networks/onnx_graph.py",
     "test_onnx_graph.py::test_a_transformer_reads_lines_of_any_length", [
        ("positions turned the other way", 'self.op("Neg", second), first',
         'second, self.op("Neg", first)'),
        ("a GELU by another width", "math.sqrt(0.5)", "math.sqrt(0.6)"),
        ("scores that are not made smaller", "self.constant(head**-0.5)", "self.constant(1.0)"),
        ("features of another length", "g.constant(1 / root)", "g.constant(1 / classes)"),
    ]),
    ("views/kit/javascript/network.js",
     "test_graphics_card.py::test_a_card_is_taken_if_it_gives_the_same_sooner", [
        ("a graphics card that is a little wrong", "CLOSE * most", "10 * CLOSE * most"),
        ("a graphics card that gives no numbers",
         "!raw.every((value, k) => Math.abs(value - other[k]) <= CLOSE * most)",
         "raw.some((value, k) => Math.abs(value - other[k]) > CLOSE * most)"),
        ("a graphics card that is slower", "webgpu < wasm", "webgpu > 0"),
        ("waiting for a graphics card without an end", "Promise.race([found, late])", "found"),
    ]),
    ("views/kit/javascript/letters.js", "test_letters.py::test_messages_and_what_they_cost", [
        ("a message with noise of size one", "Math.sqrt(alpha * normal.length) * z",
         "Math.sqrt(alpha) * z"),
        ("a price without its control variate", "surpriseOf(x, y, logs) - slope",
         "surpriseOf(x, y, logs)"),
        ("to each candidate its own message about what is known",
         "(known[j] ? shared : apart)", "apart",
         "test_letters.py::test_a_filling_is_that_of_bfn_core_with_the_same_noise"),
    ]),
    ("views/kit/javascript/candidates.js", "test_letters.py::test_the_solver_is_that_of_bfn_core", [
        ("a straight line in r, not in asinh r", "const place = Math.asinh(r)", "const place = r"),
        ("less noise than is left", "Math.sqrt(1 - keep ** 2)", "(1 - keep)"),
        ("a first step without looking ahead", "use = aim(await ask(middle, 0.5 / n))",
         "use = x"),
        ("weights that reward a wrong guess", "logs.map((v, c) => v - last[c])",
         "logs.map((v, c) => v + last[c])",
         "test_letters.py::test_a_filling_is_that_of_bfn_core_with_the_same_noise"),
    ]),
    ("training/loop.py",
     "test_training_initial.py::test_a_run_is_told_the_block_means_of_the_pixels_that_were_drawn", [
        ("hints that are not zero at first", "zeros = old.new_zeros(", "zeros = old.new_ones(",
         "test_training_initial.py"
         "::test_a_network_that_goes_on_with_hints_begins_as_if_there_were_none"),
        ("what x itself tells left out", "task.known(x, cut(task.train_condition, chosen))",
         "cut(task.train_condition, chosen)"),
    ]),
    ("networks/unet.py",
     "test_unet.py"
     "::test_a_depthwise_block_looks_around_channel_by_channel_and_mixes_them_at_each_pixel", [
        ("a depthwise block that forgets what came in", "self.attention(x + self.conv2(h))",
         "self.attention(self.conv2(h))"),
        ("a depthwise block that is told no time", "self.around(x)) * (1 + scale) + shift",
         "self.around(x))"),
        ("a depthwise block that bends otherwise", "F.gelu(", "F.silu("),
        ("blocks that have an effect at once", "zeroed(nn.Conv2d(4 * width, width, 1))",
         "nn.Conv2d(4 * width, width, 1)", "test_unet.py::test_a_new_block_has_no_effect"),
    ]),
    ("networks/widening.py", "test_widening.py::test_the_wider_network_computes_the_same", [
        ("copies that all speak in full", "(wide[:, of] * shares)", "wide[:, of]"),
        ("what came up and what stood beside it taken for one",
         "into = [into[0] - width, width]", "pass"),
        ("a label shared out like a channel", "if name == LABELS:", "if name == \"\":"),
        ("copies that stay alike", ".double() + 0.1", ".double() * 0 + 0.1",
         "test_widening.py::test_what_was_repeated_learns_different_things"),
        ("groups that grow", "if group(layer) != group(Norm(narrow)):", "if False:",
         "test_widening.py::test_groups_that_grow_with_the_width_are_refused"),
    ]),
    ("networks/chains.py", "test_chains.py::test_its_guess_is_the_exact_posterior", [
        ("a letter that hears what stands before it alone",
         "found[place] = (said.pop() * rest).sum(0,", "found[place] = said.pop().sum(0,"),
        ("what is heard counted twice", "torch.bmm(back, rest * heard[place])",
         "torch.bmm(back, rest * heard[place] ** 2)"),
        ("states sorted the wrong way round", "message.reshape(k, middle, size).transpose(0, 1)",
         "message.reshape(middle, k, size)"),
        ("messages that are never scaled", "now.div_(now.sum((0, 1), keepdim=True))", "now",
         "test_chains.py::test_a_run_of_unlikely_letters_stays_in_the_range_of_numbers"),
        ("powers of the knot before a time alone",
         "torch.lerp(self.powers[:, low], self.powers[:, low + 1], place - low)",
         "self.powers[:, low]",
         "test_chains.py::test_the_product_begins_between_its_experts_and_learns_their_powers"),
        ("a table whose guess is not read", "guess = chain.exp().to(inputs.dtype)", "pass",
         "test_self_conditioning.py::test_beside_a_table_the_first_guess_is_the_table_s"),
    ]),
    ("networks/transformer.py",
     "test_self_conditioning.py::test_slopes_are_those_of_the_last_guess_alone", [
        ("a drawing that forgets its guess", "self.last = raw.float().softmax(-1)",
         "self.last = (0 * raw.float()).softmax(-1)",
         "test_self_conditioning.py::test_a_drawing_can_read_the_guess_of_the_step_before"),
        ("slopes through the first guess", "with torch.no_grad():", "with torch.enable_grad():"),
        ("always the same half that guesses twice", "slice(int(torch.randint(2, ())), None, 2)",
         "slice(0, None, 2)", "test_self_conditioning.py::test_either_half_of_a_batch_is_chosen"),
        ("a condition that the first guess is not told", "t[rows], cut(condition, rows), guess)",
         "t[rows], None, guess)",
         "test_self_conditioning.py::test_both_guesses_are_told_the_condition"),
    ]),
    ("training/runs.py",
     "test_training_own.py::test_a_bfn_that_is_refused_stays_as_it_is", [
        ("weights of another network of which some are taken",
         "misfit_of(weights, module.state_dict())", "\"\""),
    ]),
    ("training/reader.py",
     "test_training_reader.py::test_a_run_that_was_judged_before_its_end_has_not_ended", [
        ("figures of weights that were trained on since",
         "found if found.get(\"step\", settings.steps) == step else None", "found"),
    ]),
    ("training/tasks.py",
     "test_training.py::test_without_network_training_goes_on_at_every_scale", [
        ("all of a stand-in held out", "len(source.train) // 10 if", "len(source.train) if"),
    ]),
    ("mmse.py", "test_mmse.py::test_the_left_sum_of_a_grid_written_out "
     "test_mmse.py::test_normal_data_have_one_best_schedule_for_every_wish", [
        ("an error that keeps the schedule's rate", "wide(cost) * (2.0 / rate)", "wide(cost) * 2.0",
         "test_mmse.py::test_the_error_of_normal_data_is_measured_on_any_schedule"),
        ("a right sum for the left one", "self.at(beta[:-1])).sum()", "self.at(beta[1:])).sum()"),
        ("the finest steps even in the fall itself", "(fall * wide_step).sqrt()", "fall"),
        ("equal times for equal bits", "return self._even(self._told.diff())",
         "return self._even(torch.ones_like(self._told.diff()))"),
        ("a scatter about no mean", "(cost - cost.mean()).square()", "cost.square()",
         "test_mmse.py::test_the_scatter_by_time_in_closed_form"),
        ("a way that may stand still", "triu(1)", "triu(0)",
         "test_mmse.py::test_the_cheapest_way_is_that_of_brute_force"),
        ("messages costed by all that has been told", "float(after) - float(known), generator",
         "float(after), generator", "test_mmse.py::test_the_sum_is_the_loss_of_n_messages"),
    ]),
    ("networks/scaled.py", "test_mmse.py::test_a_perfect_network_guesses_the_same_from_any_scale", [
        ("a latent with γ in place of its root", "return m.gamma.rsqrt()", "return 1 / m.gamma"),
        ("a variance of 1 for data of variance 1 only", "(1 + self.square * m.beta).rsqrt()",
         "(1 + m.beta).rsqrt()"),
        ("a velocity that is taken for the noise", "place - root / (1 + root) * self.network",
         "place - self.network"),
    ]),
    ("guidance.py", "test_guidance.py::test_raw_outputs_are_mixed_and_needless_calls_spared", [
        ("w counted from the conditional network", "plain + weight * (informed - plain)",
         "informed + weight * (informed - plain)"),
        ("the condition told to both", "return mixed(informed, plain(inputs, t), self.weight)",
         "return mixed(informed, self.network(inputs, t, condition), self.weight)"),
        ("probabilities mixed, not logits", "Categorical(mixed(informed, plain, self.weight))",
         "Categorical(mixed(informed.exp(), plain.exp(), self.weight).clamp_min(1e-9))",
         "test_guidance.py::test_a_weight_of_one_is_conditional_and_of_zero_unconditional"),
        ("of a held condition the first row for all", "in_precision(part, t.dtype).to",
         "in_precision(part[:1], t.dtype).to",
         "test_guidance.py::test_a_condition_that_is_held_is_told_with_every_call"),
        ("the SDE's spread without its factor", "both * integral**0.5", "integral**0.5",
         "test_guidance.py::test_the_closed_forms_agree_where_nothing_is_guided"),
        ("the ODE's variance for its spread", "GuidedNormal(both**0.5,", "GuidedNormal(both,",
         "test_guidance.py::test_simulated_guidance_of_normals_has_the_closed_forms_spread"),
        ("prospects that are never given back", "log_weights + worth - before, worth",
         "log_weights + worth, worth",
         "test_guidance.py::"
         "test_steered_particles_come_to_the_tilted_law_as_there_are_more_of_them"),
        ("particles drawn anew that keep others' prospects", "before[chosen.cpu()]", "before",
         "test_guidance.py::test_a_hard_reward_is_obeyed"),
    ]),
    ("training/losses.py", "test_training_losses.py::test_the_objective_written_out", [
        ("the logarithm's share twice too large", "half = 0.5 * flow.classes",
         "half = flow.classes"),
        ("all of the square beside the logarithm", "return (1 - share) * cost", "return cost"),
    ]),
    ("training/averaging.py",
     "test_training.py::test_the_average_of_the_weights_follows_its_definition", [
        ("an average that forgets", "current, 1 - kept)", "current, kept)"),
        ("an average that clings to its first weights", "min(self.decay, (1 + count) /",
         "max(self.decay, (1 + count) /"),
    ]),
    ("training/optimisers.py",
     "test_training.py::test_the_learning_rate_rises_and_falls "
     "test_training_muon.py::test_a_kernel_moves_as_muon_moves_a_matrix", [
        ("a warm-up that begins at 0 and ends late", "(step + 1) / max(1, settings.warmup)",
         "step / max(1, settings.warmup)"),
        ("a learning rate that ends above 0", "0.5 * (1 + math.cos(math.pi",
         "0.5 * (1 + math.cos(0.5 * math.pi"),
        ("kernels whose gradient Muon never sees",
         "None if kernel.grad is None else as_matrix(kernel.grad)", "None"),
        ("kernels whose gradients pile up", "kernel.grad = None", "pass"),
        ("kernels of single channels taken for matrices", " and p.shape[1] > 1", "",
         "test_training_muon.py::test_a_channels_own_kernel_is_no_matrix"),
        ("in fp16 an overflow in Muon's weights that is not seen",
         "for optimiser in self.optimisers for group",
         "for optimiser in self.optimisers[:1] for group",
         "test_training_devices.py"
         "::test_in_fp16_no_weight_moves_where_one_optimisers_gradients_overflow"),
    ]),
    ("networks/conditions.py", "test_extensions.py::test_networks_read_labels_and_hints", [
        ("unknown labels taken for the first",
         "torch.where(label < 0, self.labels, label)", "label.clamp(min=0)"),
    ]),
    ("networks/attention.py",
     "test_transformer.py::test_rotary_positions_tell_distances_and_no_more", [
        ("rotary positions that stretch", "torch.cat([-second, first], -1)",
         "torch.cat([second, first], -1)"),
    ]),
    ("data/images.py",
     "test_data.py::test_binarisation_is_drawn_per_pixel_and_anew "
     "test_data.py::test_quantisation_gives_bin_centres_of_equal_share "
     "test_data.py::test_pixels_in_floats_from_0_to_1_are_taken_for_the_same_bytes", [
        ("one threshold for a whole image",
         "torch.rand(pixels.shape, generator=generator, device=pixels.device)",
         "torch.rand(1, generator=generator, device=pixels.device)"),
        ("pictures in the order of their paths", "sorted(found, key=lambda p: p.name)",
         "sorted(found)", "test_compression.py::"
         "test_pictures_keep_their_names_where_the_order_of_paths_ignores_case"),
        ("ink that is never certain", "pixels / 255 if pixels", "pixels / 256 if pixels"),
        ("bins of 255 bytes", "pixels.int() * bins // 256", "pixels.int() * bins // 255"),
        ("left edges for centres", "bins // 256) + 1) / bins - 1", "bins // 256)) / bins - 1"),
        ("floats cut off in place of rounded", "(pixels.float() * 255).round()",
         "(pixels.float() * 255).floor()"),
        ("bytes rounded in place of cut off", "((x.float() + 1) * 128).floor()",
         "((x.float() + 1) * 128).round()"),
    ]),
    ("missing.py", "test_data_own.py::test_what_is_absent_says_nothing_and_costs_nothing", [
        ("what is absent believed as if it were said", "return _where(~there, replace(theta, "
         "mean=torch.zeros_like(theta.mean)), theta)", "return theta"),
        ("an absent class believed as if it were said",
         "return _where(~there.unsqueeze(-1), CategoricalParameters(level), theta)",
         "return theta"),
        ("a bill for what is absent, in continuous time",
         "torch.where(there, self.inner.rate_cost(whole, output, t), 0.0)",
         "self.inner.rate_cost(whole, output, t)"),
        ("a bill for what is absent, message by message",
         "torch.where(there, self.inner.step_cost(whole, output, alpha, generator), 0.0)",
         "self.inner.step_cost(whole, output, alpha, generator)"),
        ("a fee for what is absent",
         "torch.where(there, self.inner.final_cost(whole, output), 0.0)",
         "self.inner.final_cost(whole, output)"),
        ("silence taken for evidence of 0", "return score + sent / 2 *", "return score + 0.0 *",
         "test_data_own.py::test_what_is_absent_is_no_evidence"),
        ("messages about nothing", "return _where(silent, theta, self.inner",
         "return _where(silent & False, theta, self.inner"),
    ]),
    ("training/losses.py",
     "test_data_own.py::test_what_is_absent_teaches_nothing", [
        ("what is absent learnt", "return torch.where(there, aim, 0.0), torch.where(there",
         "return aim, torch.where(there"),
    ]),
    ("networks/tables.py",
     "test_data_own.py::test_the_network_for_rows_is_told_of_what_it_has_heard_nothing", [
        ("silence at the beginning taken for absence", "(heard.flatten(1) | beginning)",
         "(heard.flatten(1))"),
        ("silence that is not told", "heard, scaled = belief != 0, belief",
         "heard, scaled = belief == belief, belief"),
    ]),
    ("data/tables.py",
     "test_data_own.py::test_a_table_goes_there_and_back "
     "test_data_own.py::test_every_level_of_a_column_is_the_level_of_its_value", [
        ("edges of bins for their middles", "(level + 0.5) / self.levels", "level / self.levels"),
        ("a bin too few for what decimals allow", "steps + 1, low - half, high + half",
         "steps, low - half, high + half"),
        ("bins that lie half a step aside", "low - half, high + half, digits)",
         "low, high, digits)"),
        ("centres of bins without their half", "(2 * exact + 1) / self.levels - 1",
         "2 * exact / self.levels - 1"),
        ("a decimal comma taken for a word", "if not numbers and not commas:", "if not numbers:",
         "test_data_own.py::test_each_thing_wrong_with_a_table_is_told_in_a_sentence"),
        ("an infinite number taken for a large one", "if not math.isfinite(float(word)):",
         "if math.isnan(float(word)):",
         "test_data_own.py::test_each_thing_wrong_with_a_table_is_told_in_a_sentence"),
    ]),
    ("baselines/tables.py", "test_data_own.py::test_a_column_costs_what_its_shares_say", [
        ("a whole row added to every bin", "minlength=column.levels) + 0.5",
         "minlength=column.levels) + 1.0"),
        ("a normal law half a bin aside", "seen.double() + 0.5", "seen.double()"),
    ]),
    ("data/pictures.py",
     "test_data_own.py::test_what_is_cut_off_is_cut_off_evenly_and_what_is_padded_is_black "
     "test_data_own.py::test_a_threshold_makes_pictures_binary "
     "test_data_own.py::test_pictures_of_any_kind_come_to_one_size", [
        ("photos that lie on their side", "image = ImageOps.exif_transpose(opened)",
         "image = opened.copy()"),
        ("height for width", "shape, best = sides[::-1]", "shape, best = sides"),
        ("white from the middle on, but one", "np.where(pixels >= 128", "np.where(pixels > 128"),
    ]),
    ("own_clocks.py",
     "test_own_clocks.py::test_one_call_is_bayes_rule "
     "test_own_clocks.py::test_what_is_known_costs_nothing_and_the_rest_costs_its_rate "
     "test_own_clocks.py::test_completed_rows_follow_the_conditional_law", [
        ("a known number that is told without γ", "flow.gamma(1.0) * x, ones",
         "0.5 * x, ones"),
        ("a known class told too faintly", "flow.beta(1.0) * flow.classes",
         "0.01 * flow.classes"),
        ("known and unknown parts exchanged", "_mix(own, sure, nothing)",
         "_mix(~own, sure, nothing)"),
        ("known parts that cost as well", "cost = cost + (each * unknown).sum(1)",
         "cost = cost + each.sum(1)"),
        ("what is known drowned in messages", "_mix(k, sure[name], heard[name])",
         "_mix(k & False, sure[name], heard[name])",
         "test_own_clocks.py::test_what_is_known_is_not_worn_away_by_a_network_that_doubts_it"),
    ]),
    ("data/sound.py",
     "test_sound.py::test_every_pitch_is_where_it_should_be_and_is_found_again "
     "test_sound.py::test_the_fundamental_falls_as_was_asked "
     "test_sound.py::test_rice_pays_little_for_what_is_foretold_and_no_less_than_noise_needs", [
        ("a period too long by what the filter delays", "period - self.mix - delay",
         "period - delay"),
        ("an all-pass filter the wrong way round", "(1 - rest) / (1 + rest), ",
         "(rest - 1) / (1 + rest), "),
        ("a decay that forgets what the mixture takes", "/ self.decay) / one",
         "/ self.decay)"),
        ("Rice's code without its unary part's end", "part.shape[1] * (1 + k)",
         "part.shape[1] * k"),
        ("a decay heard twice as fast", "half / (early / late).log()",
         "0.5 * half / (early / late).log()",
         "test_sound.py::test_the_decay_that_one_hears_is_the_laws"),
        ("harmonics from the octave on", "torch.arange(1, count + 1)",
         "torch.arange(2, count + 2)",
         "test_sound.py::test_the_colour_of_a_tone_is_in_its_harmonics"),
        ("pieces of sound that reach into what is held out", "(x[:first], x[last:])",
         "(x[:first], x[last - 1 :])",
         "test_sound.py::test_pieces_touch_nothing_that_is_held_out"),
    ]),
    ("networks/wave_unet.py", "test_sound.py::test_a_u_net_of_waves_gives_a_wave_and_its_widths", [
        ("a U-Net of sound that does not read the time", "* (1 + scale) + shift", "* 1.0"),
        ("a U-Net of sound without places", "h = h + self.place[level]", "h = h + 0.0"),
        ("a U-Net of sound that cannot look far", "x + self.out(attend(self.qkv(tokens), 4))",
         "x + 0 * self.out(attend(self.qkv(tokens), 4))",
         "test_sound.py::test_attention_is_what_hears_across_a_whole_wave"),
    ]),
    ("networks/waves.py", "test_sound.py::test_a_subspace_network_is_bayes_rule", [
        ("components weighed by their fit without its price",
         "keep * seen.square() / dull - torch.log1p(power / dull)", "keep * seen.square() / dull"),
        ("components that do not differ in what they say",
         "(spread + doubt).clamp", "doubt.clamp"),
        ("a guess that trusts every message alike", "keep = power / (power + dull)",
         "keep = power / (power + 1e-9 * dull)"),
        ("a doubt that forgets the messages' noise", "* keep * dull, lines.square())",
         "* keep * self.log_rest.exp(), lines.square())"),
        ("a mean belief read without its γ", "heard, noise = inputs / gamma,",
         "heard, noise = inputs / gamma.sqrt(),"),
    ]),
    ("data/text.py", "test_data.py::test_an_alphabet_that_no_byte_can_count_is_refused", [
        ("symbols that a byte counts twice", "1 <= len(alphabet) <= 256", "1 <= len(alphabet)"),
    ]),
    ("checks.py",
     "test_data.py::test_classes_in_few_bits_are_compared_with_numbers_that_need_more", [
        ("200 taken for −56", "smallest.long(), largest.long()", "smallest, largest"),
    ]),
    ("data/files.py",
     "test_training.py::test_a_folder_that_cannot_be_written_is_not_taken_for_one_that_is_held", [
        ("a lock waited for that nobody can hold", "        _mode_of_new_files(folder)\n", ""),
    ]),
    ("data/toy.py", "test_data.py::test_a_mixtures_draws_follow_its_density", [
        ("a density of twice the mass", "(2 * torch.pi) ** 0.5", "(0.5 * torch.pi) ** 0.5"),
        ("a posterior for bumps without a width", "/ (1 + beta * self.std**2)", "/ (1 + 0 * beta)",
         "test_data.py::test_a_mixtures_posterior_is_the_density_that_bayes_rule_gives"),
    ]),
]

BREAKS = [
    Break(file, what, right, wrong, tuple((own[0] if own else tests).split()))
    for file, tests, rows in TABLE for what, right, wrong, *own in rows
]


def verdict(code: int, report: str) -> tuple[bool, str]:
    """Whether a run of pytest has caught a break, by its exit code and its JUnit XML; and what to
    say of it: the failing test, or why nothing is proven.
    """
    if code == 0:
        return False, "every test passed"
    if code != 1:
        return False, f"pytest ended with {code}, and not with a failing test"
    cases = list(ElementTree.fromstring(report).iter("testcase")) if report else []
    for case in cases:
        for failure in case.iter("failure"):
            message = failure.get("message", "")
            if not message.startswith(NO_PROGRAM):
                return True, f"{case.get('classname', '')}::{case.get('name', '')}"
            return False, f"no wrong value, but {message.splitlines()[0]}"
    return False, "no test failed: errors outside of tests alone"


def passed(code: int, report: str) -> bool:
    """Whether tests ran, and all of them passed: what is asked of a copy that is not broken."""
    cases = list(ElementTree.fromstring(report).iter("testcase")) if report else []
    return code == 0 and any(len(case) == 0 for case in cases)


def tried(tests: tuple[str, ...], broken: Break | None = None) -> tuple[int, str, str]:
    """Exit code, JUnit XML and output of pytest in a copy, in which one thing may be broken."""
    with tempfile.TemporaryDirectory(prefix="bfn_core-teeth-") as folder:
        place = Path(folder)
        for part in COPIED:
            if (ROOT / part).is_dir():
                leave = shutil.ignore_patterns("__pycache__", "browser")
                shutil.copytree(ROOT / part, place / part, ignore=leave)
            else:
                shutil.copy(ROOT / part, place / part)
        if broken:
            file = place / "bfn_core" / broken.file
            text = file.read_text("utf-8").replace(broken.right, broken.wrong)
            file.write_text(text, "utf-8", newline="\n")
        command = [sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider",
                   "--junitxml=report.xml", *(f"tests/{test}" for test in tests)]
        settings = {"PYTHONPATH": str(place), "OMP_NUM_THREADS": "1"}
        try:
            run = subprocess.run(
                command, cwd=place, env={**os.environ, **settings}, timeout=LIMIT,
                capture_output=True, encoding="utf-8", errors="replace",
            )
        except subprocess.TimeoutExpired:
            return -1, "", f"no end after {LIMIT} s"
        report = place / "report.xml"
        written = report.read_text("utf-8") if report.exists() else ""
        return run.returncode, written, run.stdout + run.stderr


def cores() -> int:
    """How many runs at a time: one for each core that this process may use."""
    mine = getattr(os, "sched_getaffinity", lambda _: range(os.cpu_count() or 1))
    return len(mine(0))


def main(words: list[str]) -> int:
    """0 if every break asked for is caught, else 1."""
    sys.stdout.reconfigure(errors="backslashreplace")  # for the Greek, in a pipe on Windows
    begun = time.monotonic()
    chosen = [b for b in BREAKS if not words or any(w in b.what or w in b.file for w in words)]
    stale = [(b, why) for b in chosen if (why := b.stale())]
    for b, why in stale:
        print(f"STALE   {b.file}, {b.what}: {why}", flush=True)
    if stale or not chosen:
        print(f"{len(stale)} stale, {len(chosen)} chosen", flush=True)
        return 1
    asked = tuple(sorted({test for b in chosen for test in b.tests}))
    code, report, output = tried(asked)
    if not passed(code, report):
        print(f"FAILED  the tests, though nothing is broken:\n{output[-3000:]}", flush=True)
        return 1
    print(f"passed  {len(asked)} tests, with nothing broken", flush=True)
    missed = 0
    with ThreadPoolExecutor(cores()) as pool:
        runs = pool.map(lambda b: tried(b.tests, b), chosen)
        for b, (code, report, _) in zip(chosen, runs, strict=True):
            caught, words_of_it = verdict(code, report)
            word = "caught" if caught else "MISSED"
            print(f"{word}  {b.file}, {b.what}: {words_of_it}", flush=True)
            missed += not caught
    taken = time.monotonic() - begun
    print(f"{len(chosen)} breaks, {missed} missed, {taken:.0f} s", flush=True)
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
