"""How does memorization grow with size, copies and context? ``memaudit laws``: trainings (`run`), fits (`report`)."""
