"""What classification and regression of table rows are made of."""
