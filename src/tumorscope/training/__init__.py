"""Training: recipe, data, losses, runs, export. Needs the ``train`` extra, except the recipe and the gate."""
