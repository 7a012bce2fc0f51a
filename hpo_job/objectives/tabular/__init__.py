"""The parts of classification and regression of table rows."""
