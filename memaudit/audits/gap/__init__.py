"""Does a model ace old items and fail new ones? ``memaudit gap``: results per item (`results`), verdict (`report`)."""
