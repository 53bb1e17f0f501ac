"""What every room uses: style, explorers, letters, images, curves and records."""
