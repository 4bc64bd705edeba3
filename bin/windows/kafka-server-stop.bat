@echo off
rem Stops the brokers on this machine, in order.
setlocal DisableDelayedExpansion
"%~dp0kafka-run-class.bat" kafka-server-stop %*
