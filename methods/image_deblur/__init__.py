"""Single-image deblurring with seven networks."""
