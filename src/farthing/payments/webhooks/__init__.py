"""What gateways tell by themselves.

Owns: the events of gateways, each of which counts once, and what each of them does.
Laws: nothing is believed before its signature and its age are checked; an event may come twice, late, and in front of
one that happened earlier, and the end is the same; one about something that is not known here changes nothing, and
stands in the reconciliation.
"""
