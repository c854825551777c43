#!/usr/bin/perl
# A processor in Perl, for the built-in `command`: one action a line in, one answer a line out.
#
#   insert into actiond.processor (name, uses, config)
#   values ('word_count', 'command', '{"argv": ["perl", "/path/to/examples/word_count.pl"]}');
#   insert into actiond.action (processor, data) values ('word_count', '{"text": "to be or not to be"}');
use strict;
use warnings;
use JSON::PP;

$| = 1;    # each answer at once
my $json = JSON::PP->new->utf8->canonical;

while (my $line = <STDIN>) {
    my $action = $json->decode($line);
    my $text   = $action->{data}{text};
    my %answer = (id => $action->{id});
    if (defined $text) {
        my %count;
        $count{ lc $_ }++ for $text =~ /\w+/g;
        %answer = (%answer, ok => JSON::PP::true, result => \%count);
    } else {
        %answer = (%answer, error => 'there is no text', behavior => 'SUDDEN_DEATH');
    }
    print $json->encode(\%answer), "\n";
}
