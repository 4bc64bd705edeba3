@echo off
rem Produces numbers and tells in JSON which were acknowledged.
"%~dp0kafka-run-class.bat" org.apache.kafka.tools.VerifiableProducer %*
