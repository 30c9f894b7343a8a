"""What the stages are made of: types, settings, learning, privacy, ciphertexts, messages, folders, voting, figures."""
