#!/bin/sh
# A worker that looks at a file before each round of work. The file is replaced as a whole: it is the old one or the new one.
while :; do
	. ./mode.env
	case $MODESHIFT_MODE in
	normal) orders=100 ;;
	degraded) orders=10 ;;
	*) orders=0 ;; # maintenance, and whatever nobody has thought of yet
	esac
	echo "mode $MODESHIFT_MODE: $orders orders, $MODESHIFT_FLAG_WORKERS workers"
	sleep 1
done
