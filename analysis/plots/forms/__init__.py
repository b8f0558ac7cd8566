"""What several figures are made with."""
