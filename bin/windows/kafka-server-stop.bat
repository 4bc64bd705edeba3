@echo off
rem Stops the brokers on this machine, in order.
"%~dp0kafka-run-class.bat" kafka-server-stop %*
