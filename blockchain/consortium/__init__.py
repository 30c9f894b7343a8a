"""The consortium: founding, joining, key exchange, handing over the model, and the trust file for auditors."""
