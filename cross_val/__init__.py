"""Cross-validation: runs by seed and fold, their results, and the engines that train them."""
