#!/bin/sh
# The agent beside a program that reads flags: it serves them on loopback, from disk when the server is away.
exec modeshift agent --scope checkout --instance "checkout-$(hostname)" --flagd "127.0.0.1:${FLAGD_PORT:-8015}"
