"""How a function talks to the core: HTTP on the loopback interface."""
