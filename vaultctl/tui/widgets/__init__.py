"""What the dashboard draws with: lines of styled text, made anew only where they changed. No markup is ever read."""
