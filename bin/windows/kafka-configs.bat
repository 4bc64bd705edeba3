@echo off
rem Describes and changes the settings of topics and clients.
"%~dp0kafka-run-class.bat" kafka.admin.ConfigCommand %*
