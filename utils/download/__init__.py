"""Published weights and data sets by name.

published.yaml says what there is and where; table.py reads it; transfer.py moves bytes and resumes;
drive.py asks Google Drive; archives.py unpacks what strangers packed; store.py puts it all into
pretrain_models/ and dataset/, whole or not at all. The command is methods/download.py.
"""
