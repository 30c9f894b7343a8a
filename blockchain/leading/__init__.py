"""Parts of the server's side of a round: asking hospitals, testing dealings, and gathering what they release."""
