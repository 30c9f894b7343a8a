"""Heat maps: which places of an image speak for a finding, by the model that scored it, and pictures of that."""
