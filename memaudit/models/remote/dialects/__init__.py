"""How servers are asked, one file a dialect: each says what it gives and reads its own answers."""
