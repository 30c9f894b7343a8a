"""The lab of backdoors: which attacks on the model get through, and which detectors find them."""
