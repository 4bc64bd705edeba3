@echo off
rem Prints the messages of one partition from one replica.
"%~dp0kafka-run-class.bat" kafka.tools.SimpleConsumerShell %*
