"""install and uninstall: become the web server's control script of a home that has another one, and undo it."""
