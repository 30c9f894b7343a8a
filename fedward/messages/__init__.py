"""Messages between the server and the hospitals: what they contain, how they are sent, and how they are checked."""
