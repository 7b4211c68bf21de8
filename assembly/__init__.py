"""How the components become a cluster: settings, what is started in which order, certificates, and
what one does with a cluster from outside. Only here (and in `cluster`, the front door) are all
components known; the work is theirs."""
