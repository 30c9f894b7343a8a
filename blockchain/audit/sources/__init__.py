"""Where an audit's evidence comes from: a run folder, a bundle, a running node."""
