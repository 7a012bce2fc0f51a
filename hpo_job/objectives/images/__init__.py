"""The parts of image classification."""
