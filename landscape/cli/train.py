"""``landscape train``: train a network, keep its checkpoints, take up an interrupted run."""
