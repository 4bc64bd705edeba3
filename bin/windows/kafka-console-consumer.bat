@echo off
rem Prints the messages of topics.
"%~dp0kafka-run-class.bat" kafka.tools.ConsoleConsumer %*
