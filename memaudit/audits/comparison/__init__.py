"""How scores of suspects and of held-out documents are compared: references, controls, tests, verdict, power."""
