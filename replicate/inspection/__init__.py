"""What the model sees: the training input of a config, drawn and counted, before training."""
