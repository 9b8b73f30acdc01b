"""What one inference needs of correlations: the contract between who makes and who uses them."""
