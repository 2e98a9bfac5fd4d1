<?php
// The published handler takes its secret from a variable.
$webhookSecret = getenv('WEBHOOK_SECRET');
require __DIR__ . '/../published/licvalidator.php';
