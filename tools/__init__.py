"""Scripts for those who work on the book; readers need none of them."""
