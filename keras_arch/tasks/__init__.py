"""Tasks: everything that is done with one kind of model, one module for each."""
