"""New images scored by an exported model: listed, read ahead, scored, written as they come, watched for, shown."""
