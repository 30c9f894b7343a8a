"""The lab of image encryption: how well perturbed images hide labels, and who reads them all the same."""
