"""Readers: networks that give back image and label of adversarially perturbed images, and how close it is."""
