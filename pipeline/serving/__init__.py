"""What runs inside the model image: the HTTP server and the batch predictor."""
