"""What every model, data loader and trainer shares."""
