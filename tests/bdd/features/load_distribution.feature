Feature: Work is spread over the nodes

  Scenario: Keys and requests go to all nodes alike
    Given a cluster of nodes A, B and C
    And 3000 keys
    Then each node holds between 20 and 47 percent of the keys
    And each node comes to serve between 20 and 47 percent of the reads

  Scenario: A heavier node gets more
    Given a proxy that waits for 3 nodes
    When node A joins with weight 200
    And nodes B and C join
    Then every shard has one primary
    And node A has twice the shards of node B, within 1
    And node A has twice the shards of node C, within 1

  Scenario: A node of weight 0 takes nothing
    Given a proxy that waits for 2 nodes
    When node A joins with weight 0
    And nodes B and C join
    Then every shard has one primary
    And node A has no shards

  Scenario Outline: Reads are served whatever read-from says
    Given a cluster of nodes A, B and C
    And 300 keys
    When read-from is set to <policy>
    Then all 300 keys are there

    Examples:
      | policy       |
      | least-loaded |
      | round-robin  |
      | weighted     |
      | primary      |
