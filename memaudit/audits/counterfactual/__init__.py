"""What does a model know only because it saw it? ``memaudit counterfactual``: trainings (`run`), scores (`report`)."""
