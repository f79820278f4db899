weights
