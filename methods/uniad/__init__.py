"""UniAD, in the order of its steps: params, network, training, checkpoint; detector puts them together."""
