"""What image classification is made of."""
