"""What a program asks for: init, run. The only place where definitions, controllers and sessions meet."""
