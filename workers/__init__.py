"""Workers: claim due work lane by lane and advance the state machines; beside them the caretakers and the node.

May import: state, storage, k8s, core.
Must never: import api or cli, write a status other than through `state`, hold a transaction open across the network.
"""
